"""The pictures of these pages, from the package's own functions."""
