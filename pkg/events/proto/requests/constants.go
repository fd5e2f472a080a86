package requestsevents

// Topic is where requests that customers have made are published, by whoever has seen them: the gateway, and usage for
// those that it is told of.
const Topic = "requests"
