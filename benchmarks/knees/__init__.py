"""Which loss wins on knees: subjects, and the comparison on them."""
