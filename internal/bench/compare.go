//go:build linux

package main

import (
	"context"
	"slices"
	"time"
)

// contender is one side of a comparison.
type contender struct {
	measure func(context.Context) (float64, error)
	values  []float64
}

// milliseconds makes a contender of something that takes time.
func milliseconds(f func(context.Context) (time.Duration, error)) *contender {
	return &contender{measure: func(ctx context.Context) (float64, error) {
		d, err := f(ctx)
		return float64(d) / float64(time.Millisecond), err
	}}
}

// process is a contender whose value is the whole life of a process in milliseconds.
func (l *lab) process(p program) *contender {
	return milliseconds(func(ctx context.Context) (time.Duration, error) {
		took, err := l.run(ctx, p, nil)
		return took.wall, err
	})
}

// alternate measures all contenders in turn, again and again, so that whatever else the machine does
// meets all alike. What the first round finds is not counted: it fills caches.
func alternate(ctx context.Context, times int, contenders ...*contender) error {
	for i := range times + 1 {
		for _, c := range contenders {
			v, err := c.measure(ctx)
			if err != nil {
				return err
			}
			if i > 0 {
				c.values = append(c.values, v)
			}
		}
	}
	return nil
}

func (c *contender) median() float64 { return median(c.values) }

func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	if n == 0 {
		return 0
	}
	return (v[(n-1)/2] + v[n/2]) / 2
}
