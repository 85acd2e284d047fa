"""Are the labels and the split to be trusted?"""
