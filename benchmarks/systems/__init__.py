"""One module for each system that is measured; registry.py tells what they have in common."""
