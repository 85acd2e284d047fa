"""What the model says: networks, bundles and the predictor."""
