// Package erasure has a service erase what it has of a customer who is erased everywhere, and report that it has.
//
// The order is the event Deleted of topic customers with deleted.erased. In the transaction in which a service takes that in, it
// erases its own, forgets the letters that its consumers keep of the customer (those to be tried again and the dead ones), writes
// down that the customer is erased, and adds the report, an event of topic erasures, to its outbox. So after a crash all of it
// was done, or none and it is done again. A service that has to ask somebody else first, such as a payment provider, notes what
// it has to ask in that transaction, and reports with Done in the one in which it notes the answer.
//
// # What comes late
//
// What else comes of an erased customer's events on topic customers is passed over, whatever service published it and in
// whatever order; a service that takes in customers' data by another way asks Erased. That somebody was erased is remembered for
// events.InboxRetention: the stream has nothing older.
//
// # What stays
//
// The stream keeps the events of topic customers, which have the address, the name and the meta, for 7 days after everybody has
// acknowledged them; the outbox of customers keeps them for seconds after that it has published them. Neither is gone through:
// what nobody can take out of the middle of is short instead.
package erasure
