"""Its place puts this folder on the import path: tests share the modules that lie beside it."""
