"""Any input as rows of molecules: one module per kind of file."""
