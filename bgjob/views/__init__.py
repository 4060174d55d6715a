"""Views: what is known of the queue and its jobs, as values that a command line or a page shows; they only read."""
