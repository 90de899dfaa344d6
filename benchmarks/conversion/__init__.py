"""Conversion of ResNet-20, -56 and -110 for CIFAR-10 by every method, at every number of steps."""
