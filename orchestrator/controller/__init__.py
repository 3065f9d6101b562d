"""The loop that brings runs to their end: observe, decide, act, write once."""
