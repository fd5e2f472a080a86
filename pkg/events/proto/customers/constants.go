package customersevents

// Topic is where what happens to customers is published, by the service customers.
const Topic = "customers"
