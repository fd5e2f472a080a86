service signup
