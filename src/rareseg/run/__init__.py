"""One whole run, command by command: train, tune, predict, evaluate and the demo."""
