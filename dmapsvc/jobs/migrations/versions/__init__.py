"""One module a revision, named `r<revision>_<noun>`; a revision that was released is never changed."""
