"""`bgjob doctor`: what is wrong with a queue and its surroundings, and what mends it; one module for each theme."""
