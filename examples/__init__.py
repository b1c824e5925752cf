"""Small programs to start from; README.md says how to run them."""
