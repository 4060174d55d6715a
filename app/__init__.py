"""The example app: what a project that uses bgjob looks like."""
