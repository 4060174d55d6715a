"""The tests of bgjob; a package, so that no other package called `tests` can stand in its place."""
