"""Is it whole, is it right, how fast is it; and data of known truth to find out."""
