"""What the user wrote: the closed models of a spec and the safe way to load one."""
