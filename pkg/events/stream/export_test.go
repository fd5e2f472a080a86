package stream

import "time"

// SetLaneAge has a client use its lanes for another time than it usually does.
func SetLaneAge(c *Client, age time.Duration) { c.lanes.age = age }

// SetServedFor has a handler serve PublishEach for another time than it usually does.
func SetServedFor(h *Handler, within time.Duration) { h.within = within }
