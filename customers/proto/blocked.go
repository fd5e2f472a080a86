package customers

// KeyIsBlocked is what the detail of VerifyKey's refusal begins with when an operator has blocked the key. What the operator wants
// the caller to be told follows.
const KeyIsBlocked = "the API key is blocked: "
