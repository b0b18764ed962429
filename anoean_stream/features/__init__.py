"""The contract between data and model: names, kinds, transforms, missing values.

Fitted by the trainer, stored in the bundle, applied by trainer and worker alike.
"""
