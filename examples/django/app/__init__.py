"""A small shop: orders come in by the web, and are confirmed in the background."""
