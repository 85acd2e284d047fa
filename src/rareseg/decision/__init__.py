"""Decision: operating points, guarantees and calibration."""
