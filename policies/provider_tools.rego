# METADATA
# title: No tools at the provider
# description: >-
#   Refuses requests for tools that would run at the provider, such as web search, code interpreters and remote MCP
#   servers: each is a further company that sees part of the request. Tools that the caller runs itself are fine.
# custom:
#   control: GDPR-28
#   severity: medium
package library.provider_tools

reject contains {"code": "provider_tools", "message": message} if {
	input.request.provider_tools
	message := sprintf("the request asks for %s; tools may not run at the provider", [concat(", ", input.request.tool_kinds)])
}

require contains {"no_provider_tools": true}
