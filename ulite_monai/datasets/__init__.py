"""Many cases: finding, naming, checking and splitting them."""
