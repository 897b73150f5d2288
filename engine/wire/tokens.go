package wire

// What EstimateTokens leaves out. The figures are rough on purpose: they rank endpoints and refuse what is far too long,
// they bill nobody.
const (
	messageTokens = 4    // role and delimiters of a message
	mediaTokens   = 1000 // an image, a clip or a file: about a 1024 × 1024 image in high detail
)

// EstimateTokens is about how many tokens a text of that many bytes of UTF-8 has: a quarter, rounded up, as English prose
// has with most tokenizers. Request.PromptTokens adds 4 for each message and 1000 for each image, recording, video or
// file, whose own bytes do not count; tools and schemas count with the bytes of their JSON.
func EstimateTokens(bytes int) int64 { return (int64(bytes) + 3) / 4 }
