package stream

import "time"

// SetLaneAge has a client use its lanes for another time than it usually does.
func SetLaneAge(c *Client, age time.Duration) { c.lanes.age = age }

// SetServedFor has a handler serve PublishEach for another time than it usually does.
func SetServedFor(h *Handler, within time.Duration) { h.within = within }

// SetAnswerWithin has a client wait for another time than it usually does for what comes over its lanes.
func SetAnswerWithin(c *Client, within time.Duration) { c.lanes.within = within }
