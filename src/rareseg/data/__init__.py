"""What is there: files, data sets, their classes, splits and the store."""
