package erasuresevents

// Topic is where services report which customers they have erased.
const Topic = "erasures"
