// Package server builds a broker out of its rooms, starts it, drains it and
// stops it. It owns the order of these and the small adapters between rooms;
// it holds no logic that a room could hold.
package server
