package usageevents

// Topic is where it is published by usage that customers come to the end of what they may call.
const Topic = "usage"
