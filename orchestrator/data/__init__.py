"""What happens to rows: read, mapped, checked, counted and written, before a GPU is taken."""
