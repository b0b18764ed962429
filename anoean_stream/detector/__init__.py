"""The model at inference: encoder, distance, calibration, explanation, bundle. No torch, no pickle."""
