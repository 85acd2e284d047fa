"""Prediction: networks, models, bundles and the detector."""
