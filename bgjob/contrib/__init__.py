"""What joins bgjob to frameworks; nothing else of bgjob imports it."""
