# shellcheck shell=sh
# Runs in the image of the `stele` command: creates the users, apps and tokens that the clients use, and prints the
# independent client's environment as JSON, without addresses and the deployment's secret.
set -eu
add_user() { # add_user NAME PHONE OPTION…: prints a member of the JSON object
    name=$1 phone=$2 && shift 2
    id=$(printf '%s-secret' "$name" | stele user add --username "$name" --phone "$phone" --email "$name@example.com" "$@" --password-stdin)
    number=$(stele user show "$id" | sed -n 's/^ *"number": "\{0,1\}\([0-9]*\).*/\1/p')
    printf '{"id":"%s","number":"%s","name":"%s","phone":"%s","email":"%s@example.com","password":"%s-secret"}' \
        "$id" "$number" "$name" "$phone" "$name" "$name"
}
add_app() { # add_app NAME MAY-TOKEN: prints the app's secret
    printf '"%s"' "$(stele app add "$1" --may-token "$2" | sed -n 's/^app_secret //p')"
}
printf '{"client_token":"%s","apps":{"melink":%s,"wlfz":%s}' "$(stele token add client)" \
    "$(add_app melink wlfz,unheard-of)" "$(add_app wlfz wlfz)"
printf ',"cloudbox":%s' "$(add_user dddddd 12312312312 --real-name fff --gender 男 \
    --enterprise e8d3bc38-beb0-11e7-888f-525400d25920 --group rentuser)"
printf ',"admin":%s,"tms":%s' "$(add_user boss 13800000001 --role admin)" "$(add_user mark 1548736484)"
printf ',"jwt":%s}\n' "$(add_user a 13800000002 --real-name 钱七 --gender 男 --organization 组织 --department 部门 \
    --description 说明 --avatar-url https://example.com/a.png)"
for number in $(seq 1 "$1"); do
    printf 'load-%s-secret' "$number" | stele user add --username "load-$number" \
        --phone "$(printf '186%08d' "$number")" --password-stdin > /dev/null
done
