// Package subscriber receives what other services publish: one file a topic, each as thin as a handler.
package subscriber
