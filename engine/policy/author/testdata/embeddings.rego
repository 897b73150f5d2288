package acme.embeddings

deny contains "embeddings only" if input.request.api != "embeddings"
