"""Where a person begins: what it is, what the microscope is, whether all is well."""
