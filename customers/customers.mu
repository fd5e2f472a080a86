service customers
