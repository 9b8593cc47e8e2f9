# A table as nft lists it, without what differs between two that say the same:
# handles, and the order of a set's elements.
[.nftables[]
 | walk(if type == "object"
        then del(.handle) | if (.elem | type) == "array" then .elem |= sort else . end
        else . end)]
| sort_by(keys[0], (.[keys[0]] | .chain // .name // ""))
