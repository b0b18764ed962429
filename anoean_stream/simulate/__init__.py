"""Made-up traffic with attacks in it: for the demo, the tests, and for trying things out.

Deterministic: the same arguments give the same flows. Fast: more than 50,000 flows a second on one
core. Never a substitute for your own traffic: a model trained on this knows this.

>>> from itertools import islice
>>> flow = next(Simulator(seed=7, attack_share=0.0).flows())
>>> flow.label, flow.attack
(0, None)
"""

from anoean_stream.simulate.attacks import ATTACKS
from anoean_stream.simulate.broken import BREAKAGES, break_value
from anoean_stream.simulate.generator import Flow, Simulator

ATTACK_KINDS: tuple[str, ...] = tuple(ATTACKS)
"""Names of the attacks that can be simulated."""

__all__ = ["ATTACK_KINDS", "BREAKAGES", "Flow", "Simulator", "break_value"]
