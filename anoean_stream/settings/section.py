"""What all sections share, and how a combination that cannot work is told."""

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


def cross_check(message: str, *keys: str) -> PydanticCustomError:
    """Make the error of a combination that cannot work.

    Parameters
    ----------
    message : str
        What is wrong, values seen, what to do.
    *keys : str
        The settings involved, ``key`` within the section, or ``section.key``.
    """
    return PydanticCustomError("cross_check", "{message}", {"message": message, "keys": keys})


def check_one_place(section: "Section", *keys: str) -> None:
    """Refuse a secret that is given twice, as ``<key>`` and as ``<key>_file``."""
    for key in keys:
        if getattr(section, key) is not None and getattr(section, f"{key}_file") is not None:
            raise cross_check(f"{key} and {key}_file are both set; remove one", key, f"{key}_file")


class Section(BaseModel):
    """What all sections share: immutable, nothing unknown, defaults validated, numbers finite."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        # pydantic would print what it was given, secrets too; our own messages show what may be shown.
        hide_input_in_errors=True,
    )
