package imageapi

// Runner runs pods; nil only pretends.
type Runner interface{}
