package sigma

import (
	"cmp"
	"math"
	"slices"
)

// condense tells points of one 64th of the window together, so that they take bounded room. Counts
// and sums stay; when each part of them happened is known to a 64th of the timespan.
func (p *part[T]) condense(points []point) []point {
	width := max(p.span/buckets, 1)
	switch p.def.Type {
	case ValuePercentile:
		for len(points) > maxSamples/2 {
			before := len(points)
			if points = halve(points, width); len(points) == before {
				return points
			}
		}
		return points
	case ValueCount, Temporal:
		return firstInBucket(points, width)
	}
	out := points[:0]
	for _, pt := range points {
		if n := len(out); n > 0 && out[n-1].at/width == pt.at/width {
			out[n-1].count += pt.count
			sum := math.Float64frombits(out[n-1].value) + math.Float64frombits(pt.value)
			out[n-1].value = math.Float64bits(sum)
			continue
		}
		out = append(out, pt)
	}
	return out
}

// firstOfEach drops the repeats of a value.
func firstOfEach(points []point) []point {
	seen := make(map[uint64]bool, len(points))
	return slices.DeleteFunc(points, func(pt point) bool {
		again := seen[pt.value]
		seen[pt.value] = true
		return again
	})
}

// distinct returns how many values the points have.
func distinct(points []point) int {
	seen := make(map[uint64]bool, len(points))
	for _, pt := range points {
		seen[pt.value] = true
	}
	return len(seen)
}

// firstInBucket drops the repeats of a value within one bucket.
func firstInBucket(points []point, width int64) []point {
	seen := map[[2]uint64]bool{}
	return slices.DeleteFunc(points, func(pt point) bool {
		k := [2]uint64{uint64(pt.at / width), pt.value}
		again := seen[k]
		seen[k] = true
		return again
	})
}

// halve leaves half of the points of each bucket, evenly spaced by rank, which weigh as much as all.
// Where the first of them stands is left to chance, so that percentiles stay on the whole; the chance
// is drawn from the points, so that the same input gives the same output.
func halve(points []point, width int64) []point {
	out := points[:0]
	for from := 0; from < len(points); {
		to := from
		total := uint64(0)
		for to < len(points) && points[to].at/width == points[from].at/width {
			total += points[to].count
			to++
		}
		bucket := slices.Clone(points[from:to])
		from = to
		left := uint64(len(bucket) / 2)
		if left < 4 {
			out = append(out, bucket...)
			continue
		}
		first := bucket[0].at
		slices.SortStableFunc(bucket, byValue)
		step := total / left
		offset := chance(bucket[0], bucket[len(bucket)-1]) % step
		for i := range left {
			pt := point{at: first, value: math.Float64bits(nth(bucket, i*step+offset)), count: step}
			if i == left-1 {
				pt.count += total % left
			}
			out = append(out, pt)
		}
	}
	return out
}

// chance mixes the bits of two points.
func chance(a, b point) uint64 {
	x := uint64(a.at) ^ a.value*0x9e3779b97f4a7c15 ^ b.value*0xc2b2ae3d27d4eb4f ^ a.count<<32 ^ b.count
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func byValue(a, b point) int {
	return cmp.Compare(math.Float64frombits(a.value), math.Float64frombits(b.value))
}

// percentile returns the value below which so many percent of the points are, interpolated between
// neighbours.
func percentile(points []point, percent float64) float64 {
	sorted := slices.Clone(points)
	slices.SortStableFunc(sorted, byValue)
	total := uint64(0)
	for _, pt := range sorted {
		total += pt.count
	}
	rank := percent / 100 * float64(total-1)
	below := math.Floor(rank)
	lo, hi := nth(sorted, uint64(below)), nth(sorted, uint64(math.Ceil(rank)))
	return lo + (hi-lo)*(rank-below)
}

// nth returns the value of the event number n, from 0.
func nth(sorted []point, n uint64) float64 {
	for _, pt := range sorted {
		if n < pt.count {
			return math.Float64frombits(pt.value)
		}
		n -= pt.count
	}
	return math.Float64frombits(sorted[len(sorted)-1].value)
}
