package events

import "google.golang.org/protobuf/proto"

// Draft is an event that is to be published.
type Draft struct {
	// Topic is where it is published, such as customersevents.Topic.
	Topic string
	// Message is the topic's Event. Its field type says what has happened.
	Message proto.Message
	// Aggregate is what the event is about, such as a customer's id: of one topic, the events about one aggregate are
	// handled in the order in which they were added. Empty if their order does not matter.
	Aggregate string
}
