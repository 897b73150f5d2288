.PHONY: build test race lint fuzz demo plugins ci

build: ## the binary, in bin/
	go build -trimpath -o bin/chaperone ./cmd/chaperone

test:
	go test ./...

race:
	go test -race -short ./...

lint:
	gofmt -l $$(git ls-files '*.go')
	go vet ./...
	go tool staticcheck ./...

demo:
	go run ./cmd/chaperone demo

ci: ## what runs before a change lands
	.ci/run
