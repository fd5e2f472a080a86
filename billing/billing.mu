service billing
